"""The goal file: what is asked of a build, read and checked before anything heavy is loaded."""
