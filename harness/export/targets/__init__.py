"""The built-in exports, one ``Export`` a module."""
