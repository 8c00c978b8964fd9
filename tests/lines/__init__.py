"""Line protocol over TCP and UDP."""
