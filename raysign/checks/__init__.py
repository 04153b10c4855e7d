"""Is this machine, or what is on disk, as it should be?"""
