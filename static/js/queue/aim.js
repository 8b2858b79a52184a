// Whether somebody is aiming at a part of the page just now: then it holds still. A pointer that only lies there does
// not stop it, or a picture on a wall would grow old.

const AIMING = 5000; // milliseconds since the pointer last moved
let moved = -AIMING;

document.addEventListener("pointermove", (event) => (moved = event.timeStamp), { passive: true });

export const aimedAt = (part) => performance.now() - moved < AIMING && part.matches(":hover");
