"""The world around a program that deploys: machines that run, buckets that keep, a way to ask.

Everything that stands where a cloud stands, so that the real command, as a process of its own,
ends with a verified server. See aws.aws_world.
"""
