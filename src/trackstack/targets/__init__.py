"""Where an environment runs, and how machine and control store come to be there."""
