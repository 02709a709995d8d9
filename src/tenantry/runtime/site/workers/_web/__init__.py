"""The web platform's own objects, as JavaScript sees them: what `js` exports and the SDK's classes wrap."""
