"""Model engines: the catalogue, the devices, and a supervised child process for each loaded model."""
