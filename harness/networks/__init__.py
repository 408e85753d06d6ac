"""Pretrained networks, and the places in them that methods change."""
