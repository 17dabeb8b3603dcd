"""The commands: one module for each thing people come to the command line for."""
