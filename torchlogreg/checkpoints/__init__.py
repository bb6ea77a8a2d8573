"""What a fit leaves on disk so that it can go on: its state, packed without pickle, in whole files.

``hooks.Checkpoint`` writes, ``fit(resume=)`` reads; nothing here is needed by anybody else.
"""
