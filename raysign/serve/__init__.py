"""Bundles answering over HTTP: a service on Ray Serve, and its page for a browser.

browser, curl -> app (FastAPI, in the process of `raysign serve`) -> batches -> deploy (replicas on Ray Serve)
                        `-> decoders (processes that read videos and images, and may be killed)
"""
