"""The sweep file: read, checked, and turned into typed sections."""
