/**
 * Which roles somebody has at this moment: their own, those of their groups, and those that a mapping gives for claims of their token.
 * Pure. The claims count only for people without a provisioning connection, whose groups we know ourselves (ID-08).
 */
import type { KnownPerson } from './people.ts';
import type { Group, Mapping, Role } from './records.ts';

/** Claims of a verified token that mappings may read: name -> its text members. */
export type Attributes = Readonly<Record<string, readonly string[]>>;

/** By group id. */
export type GroupIndex = ReadonlyMap<string, Group>;

/** By issuer; null where two mappings claim one issuer. */
export type MappingIndex = ReadonlyMap<string, Mapping | null>;

export function mappingIndex(mappings: Iterable<Mapping>): MappingIndex {
  const index = new Map<string, Mapping | null>();
  for (const mapping of mappings) index.set(mapping.issuer, index.has(mapping.issuer) ? null : mapping);
  return index;
}

/** Whether a token with these claims is of our tenant. Without a mapping, or one without a tenant, every token of the issuer is. */
export function isOurTenant(mapping: Mapping | null | undefined, attributes: Attributes): boolean {
  if (mapping === null) return false;
  if (mapping?.tenant === undefined) return true;
  const values = attributes[mapping.tenant.claim] ?? [];
  return values.length === 1 && values[0] === mapping.tenant.value;
}

/** Roles that the claims give; none for people whom a directory provisions. */
export function rolesFromClaims(
  mapping: Mapping | null | undefined,
  attributes: Attributes,
  person: Pick<KnownPerson, 'provisioned'>,
): readonly Role[] {
  if (!mapping || person.provisioned) return [];
  return mapping.rules.flatMap(({ claim, value, roles }) => (attributes[claim]?.includes(value) ? roles : []));
}

/** The person's own roles and those of their groups. Ids of groups that are gone give nothing. */
export function standingRoles(person: Pick<KnownPerson, 'roles' | 'groups'>, groups: GroupIndex): readonly Role[] {
  const given = (person.groups ?? []).flatMap((id) => groups.get(id)?.roles ?? []);
  return given.length === 0 ? person.roles : [...new Set([...person.roles, ...given])];
}
