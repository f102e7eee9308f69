"""Broken and hostile inputs for every reader, made from sound ones; the same for the same seed.

`text` and `binary` damage what files hold, knowing how they are built; `readers` says for each kind
of input what is sound, how it is damaged and what reads it; `harness` reads them one by one in a
process of its own and says what became of each: accepted, refused in one paragraph, or a failure.
"""
