/**
 * Whether a token's scopes suffice for a tool (PROTOCOL.md O6). Exact match: Remit defines no hierarchy and no wildcard,
 * so `files:read` is never implied by `files:*` or `files`. If a hierarchy comes, it comes here and nowhere else.
 */
export function holds(scopes: ReadonlySet<string>, required: string): boolean {
  return scopes.has(required);
}
