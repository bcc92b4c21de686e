"""The Pulumi programs: they declare what a plan says, and decide nothing."""
