"""What the annotation formats share: labels, drawings, and the class map they are painted on."""
