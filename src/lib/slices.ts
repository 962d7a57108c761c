/**
 * Long work on the event loop in slices: asked after each piece, it says when others have to have their turn first. ATTACKER-CONTROLLED is how
 * much work there is, never how long one piece takes: that must be bounded by whoever cuts it.
 * @param sliceMs how long nobody else is served at most, but for one piece. @param now ms, rising.
 */
export function slices(sliceMs = 4, now: () => number = () => performance.now()): () => Promise<void> | null {
  let since = now();
  return () => {
    if (now() - since < sliceMs) return null;
    return new Promise((resolve) =>
      setImmediate(() => {
        since = now();
        resolve();
      }),
    );
  };
}
