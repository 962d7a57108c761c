/** Tells a server that speaks much from one that floods. Every message costs us; one that nobody asked for is free for the server. */

/** Messages that answer nothing, within ten seconds: a busy server sends a few hundred. */
const NOTIFICATIONS_PER_WINDOW = 20_000;
const WINDOW_MS = 10_000;
/** A long one counts as several: eight megabytes are a flood, too. */
const BYTES_OF_ONE = 400;

/** `now` in milliseconds. @returns whether this notification is one too many */
export function floodGauge(now: () => number): (bytes: number) => boolean {
  let count = 0;
  let since = now();
  return (bytes) => {
    const at = now();
    if (at - since >= WINDOW_MS) [since, count] = [at, 0];
    count += Math.max(1, bytes / BYTES_OF_ONE);
    return count > NOTIFICATIONS_PER_WINDOW;
  };
}
