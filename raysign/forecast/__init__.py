"""What a config will take before it is run, for `raysign plan`: time, disk, memory and money of each stage.

A few of the config's own clips go through the code of the stages, in processes apart and into a temporary folder
(`probe`); what they took is scaled up to all of them (`estimate`), stage by stage (`stages`), and shown (`words`).
"""
