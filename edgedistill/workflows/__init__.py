"""Do what each command does, without a terminal: typed options in, a typed result out, progress by a callback."""
