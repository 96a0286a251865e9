//! Hayrick's public HTTP door: upload, download, access and images resized on the fly.
