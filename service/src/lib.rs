//! What every Hayrick server shares: configuration, listeners, authentication, metrics, errors and graceful stop.
