"""The documented table and the race, on the user's machine: the command ``rnn-from-scratch benchmark``.

`statistics`, `processes`, `race`, `tables` and `compare` know neither networks nor libraries and could serve any project;
`problems`, `ours` and `peers` are what is raced here; `documented`, `programs`, `scaling`, `limits` and `overheads` are the
parts of a run; `report`, `verdicts` and `pictures` say what came out.
"""
