"""Checklists, a module each: its name is that of the checklist, and it defines ``CHECKLIST``."""
