"""What proves an event: a thumbnail, a clip; kept for a while on this device, or uploaded.

    event -> thumbnail -> shelf -> the event, with digest and link -> outbox
    frames -> ring -> half a clip's length later: encoded -> shelf -> a notice, with digest and link -> outbox
    shelf -> upload, and again until it is taken

Off by default. Privacy zones were black before any of this sees a picture.
"""
