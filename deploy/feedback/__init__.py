"""Corrections of a box's events, fetched to the workshop: what people judged, with the pictures that evidence stored.

    state folder, uploads, USB stick -> state_search -> feedback -> corrections folder
    box -> `vedette feedback export` there -> archive over SSH -> feedback -> corrections folder

Only pictures that the box stored as evidence leave it, after privacy zones and anonymization, and only those of events
that a person judged.
"""
