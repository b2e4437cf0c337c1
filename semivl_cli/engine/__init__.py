"""The room that does the work; introduces the rooms to each other."""
