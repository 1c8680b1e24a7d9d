"""The workshop's page, `vedette studio`: images, audit, marks, goal, builds and releases of one folder, in a browser.

It writes plain files that every other command reads: image folders, `masks`, `keep.csv`, `goal.toml`, `builds`.
"""
