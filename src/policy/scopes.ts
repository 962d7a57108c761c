/**
 * Whether a token's scopes suffice for a tool (PROTOCOL.md O6). By exact match, or because a record says that a scope the token has includes
 * the one the tool wants; never by spelling: `files:read` is not implied by `files:*` or `files`. Here and nowhere else.
 */

/** For a scope, the others of which one is as good. Scopes that nothing includes are not in it. */
export type ScopeIndex = ReadonlyMap<string, ReadonlySet<string>>;

export function holds(scopes: ReadonlySet<string>, required: string, index: ScopeIndex): boolean {
  if (scopes.has(required)) return true;
  const better = index.get(required);
  if (better) for (const scope of scopes) if (better.has(scope)) return true;
  return false;
}

/** Through any number of steps. A circle says that its scopes are as good as each other, and harms nothing. */
export function scopeIndex(
  records: Iterable<{ readonly id: string; readonly includes: readonly string[] }>,
): ScopeIndex {
  const includes = new Map([...records].map((record) => [record.id, record.includes]));
  const index = new Map<string, Set<string>>();
  for (const scope of includes.keys()) {
    const reached = new Set([scope]);
    // A set grows while it is walked.
    for (const one of reached) for (const next of includes.get(one) ?? []) reached.add(next);
    for (const one of reached) {
      if (one === scope) continue;
      const better = index.get(one);
      if (better) better.add(scope);
      else index.set(one, new Set([scope]));
    }
  }
  return index;
}
