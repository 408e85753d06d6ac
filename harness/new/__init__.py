"""Begin a plugin or a sweep file from a commented skeleton that passes its checks."""
