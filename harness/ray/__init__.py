"""The search engine ``ray``: Ray Tune hands out the slots, the run directory keeps what came of them."""
