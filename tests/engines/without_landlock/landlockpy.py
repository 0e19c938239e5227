"""Shadows the package of this name: an installation, or a platform, without Landlock."""

raise ImportError("there is no Landlock here")
