"""raysign: videos and images of people signing, turned into trained, evaluated sign-language recognisers on Ray."""

__version__ = "0.1.0"
