"""Where what a core decided is kept: in a file, or nowhere."""
