/**
 * Nobody changes their own standing (AZ-11): not in their own record, not through a group they are in, not through a mapping that reads
 * their token, not through an agent that acts alone and is theirs. Whoever could would need no second person for anything.
 */
import type { Mapping, Role } from '../directory/records.ts';
import { rolesFromClaims } from '../directory/roles.ts';
import { digestOf } from '../lib/canonical-json.ts';
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

/**
 * A change of a mapping that would give the asker's token other roles than it does now. What a token of another identity of theirs would
 * say is not known here: then any other rule is a change.
 */
export function changesOwnClaims(
  ctx: AdminContext,
  who: AdminCaller,
  before: Mapping | undefined,
  after: Mapping | null,
): boolean {
  const person = ctx.snapshot().people.byId(who.person);
  if (!person) return true;
  const { issuer, attributes, subject } = who.token;
  const touches = (one: string): boolean => before?.issuer === one || after?.issuer === one;
  const rolesBy = (mapping: Mapping | null | undefined): readonly Role[] =>
    mapping?.issuer === issuer ? rolesFromClaims(mapping, attributes, person) : [];
  if (touches(issuer) && !sameRoles(rolesBy(before), rolesBy(after))) return true;
  const others = [person, ...(person.also ?? [])].filter((one) => one.issuer !== issuer || one.subject !== subject);
  if (person.provisioned || !others.some((one) => touches(one.issuer))) return false;
  return digestOf(before?.rules ?? []) !== digestOf(after?.rules ?? []);
}
