/**
 * Nobody changes their own standing (AZ-11): not in their own record, not through a group they are in, not through a mapping that reads
 * their token, not through an agent that acts alone and is theirs. Whoever could would need no second person for anything.
 */
import type { Mapping, Role } from '../directory/records.ts';
import { rolesFromClaims } from '../directory/roles.ts';
import { forbidden, type Problem } from './problem.ts';
import type { AdminContext } from './context.ts';
import type { AdminCaller } from './route.ts';

export const ownStanding = (what: string): Problem =>
  forbidden('own_standing', `Nobody changes their own roles or state, ${what}.`, 'Ask another administrator.');

export const sameRoles = (a: readonly Role[], b: readonly Role[]): boolean =>
  new Set(a).size === new Set(b).size && a.every((role) => b.includes(role));

/** A group whose roles change, while the asker is one of its members. */
export function isOwnGroup(ctx: AdminContext, who: AdminCaller, group: string): boolean {
  return ctx.snapshot().people.byId(who.person)?.groups?.includes(group) ?? false;
}

/** A mapping of the asker's issuer that would give their token other roles than it does now. */
export function changesOwnClaims(ctx: AdminContext, who: AdminCaller, after: Mapping | null): boolean {
  const view = ctx.snapshot();
  const person = view.people.byId(who.person);
  if (!person) return true;
  const before = rolesFromClaims(view.mappings.get(who.token.issuer), who.token.attributes, person);
  return !sameRoles(before, rolesFromClaims(after, who.token.attributes, person));
}
