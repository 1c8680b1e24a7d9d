"""Changes of a camera's file that the user `vedette` may ask for: requests, what they may change, and their results."""
