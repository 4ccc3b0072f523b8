"""Backs up and restores the stack's data; runs in the `backup` container, standard library only.

Standard error carries progress; standard output carries one line at the end: ``@@ok JSON`` or ``@@failed JSON``.
"""
