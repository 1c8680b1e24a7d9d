"""Evidence of events: a thumbnail and a clip, kept for some time on this device, or uploaded.

    event -> thumbnail -> store -> the event, with digest and link -> outbox
    frames -> ring buffer -> half a clip later: encoded -> store -> a system event, with digest and link -> outbox
    store -> upload, repeated until it succeeds

It is off by default. Privacy zones are masked before this package gets a frame.
"""
