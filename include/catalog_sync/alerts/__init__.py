"""Alerts: what a person must know and would not see otherwise, told once when it begins and once when it is over.

``kinds`` is the catalogue of them; ``findings`` says what holds after a run, ``watch`` what holds between runs;
``book`` keeps the state of each in the ledger; ``telling`` decides what has to be told now, and to whom; ``heartbeat``
is for the one alert that nothing here can raise: that no run came at all.
"""
