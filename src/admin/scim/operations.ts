/**
 * What SCIM does to a user or a group, on a draft: create, replace, patch, remove. Uniqueness is asked of the draft here and of the store at
 * the commit. A conflict says `uniqueness` and nothing about whose the name is: that may be somebody this connection does not see (ID-05).
 */
import type { Person } from '../../directory/records.ts';
import { memberIds, type MemberStep } from '../../directory/scim/members.ts';
import { applyPatch, readPatch } from '../../directory/scim/patch.ts';
import { quoted, refuse } from '../../directory/scim/problem.ts';
import { groupOf, groupValues, identitiesOf, personOf, userValues } from '../../directory/scim/resources.ts';
import { GROUPS, USERS, type ResourceType } from '../../directory/scim/schemas.ts';
import { objectOf, readResource, type Values } from '../../directory/scim/values.ts';
import { newId } from '../../lib/ids.ts';
import type { Json } from '../../lib/json.ts';
import type { Draft } from './draft.ts';

export interface Operations {
  /** Id of the new resource, or of the one that was adopted. */
  create(draft: Draft, body: Json): string;
  replace(draft: Draft, id: string, body: Json, ifMatch: string | undefined): void;
  patch(draft: Draft, id: string, body: Json, ifMatch: string | undefined, base: string): void;
  remove(draft: Draft, id: string, ifMatch: string | undefined): void;
}

const taken = (detail: string): never => refuse({ status: 409, scimType: 'uniqueness', detail });

export const missing = ({ name }: ResourceType, id: string): never =>
  refuse({ status: 404, detail: `There is no ${name} ${quoted(id)}.` });

/** RFC 7644 section 3.14: the version that the client saw must be the one that stands. Weak and strong spellings are one. */
function checkVersion(ifMatch: string | undefined, revision: number | null): void {
  if (ifMatch === undefined || ifMatch.trim() === '*' || revision === null) return;
  const seen = ifMatch.split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  if (!seen.includes(`"${revision}"`))
    refuse({ status: 412, detail: 'The resource has changed since the version in If-Match. Read it again.' });
}

function putUser(draft: Draft, id: string, before: Person | null, values: Values): void {
  const { connectionId, connection, now } = draft;
  const said = values['active'] as boolean | undefined;
  // Taken away or left out it would mean "as by default", and nobody comes back by that.
  if (before?.provisioned !== undefined) values['active'] ??= before.state === 'active';
  const after = personOf({ id, connectionId, connection, before, values, said, now });
  const { userName, externalId } = after.provisioned!;
  const others = (ids: readonly string[]): boolean => ids.some((one) => one !== id);
  if (others(draft.find('person', 'userName', userName!))) taken('A user with this userName exists already.');
  if (externalId !== undefined && others(draft.find('person', 'externalId', externalId)))
    taken('A user with this externalId exists already.');
  for (const identity of [after, ...(after.also ?? [])])
    if (others(draft.holders(identity))) taken('Somebody signs in under this identity already.');
  draft.putPerson(id, after);
}

export const USER_OPERATIONS: Operations = {
  create(draft, body) {
    const values = readResource(USERS, body);
    const id = adoptable(draft, values) ?? newId('person', draft.ctx.clock);
    putUser(draft, id, draft.anyPerson(id), values);
    return id;
  },
  replace(draft, id, body, ifMatch) {
    const before = draft.person(id) ?? missing(USERS, id);
    checkVersion(ifMatch, draft.revision('person', id));
    const values = readResource(USERS, body);
    // What is left out is cleared, but for what would move the person: who they are at the directory, and (putUser) whether they may act.
    if (values['externalId'] === undefined && before.provisioned?.externalId !== undefined)
      values['externalId'] = before.provisioned.externalId;
    putUser(draft, id, before, values);
  },
  patch(draft, id, body, ifMatch) {
    const before = draft.person(id) ?? missing(USERS, id);
    checkVersion(ifMatch, draft.revision('person', id));
    const values = userValues(before);
    // What it says now is told apart from what stood there.
    delete values['active'];
    applyPatch(USERS, values, readPatch(body));
    putUser(draft, id, before, values);
  },
  remove(draft, id, ifMatch) {
    if (draft.person(id) === null) missing(USERS, id);
    checkVersion(ifMatch, draft.revision('person', id));
    draft.removePerson(id);
  },
};

/**
 * The id of somebody who is here already and whom this user is: active, nobody provisions them, they have the same identity, and the connection may
 * take people over. Null: there is nobody like that, and a new record is made (which the uniqueness of identities may still refuse).
 */
function adoptable(draft: Draft, values: Values): string | null {
  const { connection } = draft;
  const userName = values['userName'];
  if (connection.adopt !== true || typeof userName !== 'string') return null;
  const externalId = typeof values['externalId'] === 'string' ? values['externalId'] : undefined;
  const identities = identitiesOf(connection, { id: '', userName, externalId });
  const holders = new Set(identities.flatMap((identity) => draft.holders(identity)));
  const [id] = holders;
  if (id === undefined || holders.size > 1) return null;
  const person = draft.anyPerson(id);
  // Whom somebody here made inactive does not come back by being taken over.
  const free = person?.state === 'active' && person.provisioned === undefined && person.breakGlass !== true;
  return free ? id : null;
}

/** `members` of a whole group. Left out is nobody: PUT replaces (RFC 7644 section 3.5.1). */
function membersIn(body: Json): MemberStep {
  for (const [name, value] of Object.entries(objectOf(body, 'The resource'))) {
    const lower = name.toLowerCase();
    if (lower === 'members' || lower === `${GROUPS.schema.id.toLowerCase()}:members`)
      return { do: 'replace', ids: memberIds(value) };
  }
  return { do: 'replace', ids: [] };
}

function putGroup(draft: Draft, id: string, values: Values): void {
  const { connectionId, now } = draft;
  const after = groupOf({ connectionId, before: draft.group(id), values, now });
  const { externalId } = after.provisioned!;
  const others = (ids: readonly string[]): boolean => ids.some((one) => one !== id);
  if (externalId !== undefined && others(draft.find('group', 'externalId', externalId)))
    taken('A group with this externalId exists already.');
  // Two groups of a directory may have one name. Without an id of the directory they could not be told apart.
  const twins = draft.find('group', 'displayName', after.name).filter((one) => one !== id);
  if (twins.some((one) => externalId === undefined || draft.group(one)?.provisioned?.externalId === undefined))
    taken('A group with this displayName exists already.');
  draft.putGroup(id, after);
}

export const GROUP_OPERATIONS: Operations = {
  create(draft, body) {
    const id = newId('group', draft.ctx.clock);
    putGroup(draft, id, readResource(GROUPS, body));
    draft.applyMembers(id, [membersIn(body)], '');
    return id;
  },
  replace(draft, id, body, ifMatch) {
    const before = draft.group(id) ?? missing(GROUPS, id);
    checkVersion(ifMatch, draft.revision('group', id));
    const values = readResource(GROUPS, body);
    if (values['externalId'] === undefined && before.provisioned?.externalId !== undefined)
      values['externalId'] = before.provisioned.externalId;
    putGroup(draft, id, values);
    draft.applyMembers(id, [membersIn(body)], '');
  },
  patch(draft, id, body, ifMatch, base) {
    const before = draft.group(id) ?? missing(GROUPS, id);
    checkVersion(ifMatch, draft.revision('group', id));
    const values = groupValues(before);
    const steps = applyPatch(GROUPS, values, readPatch(body));
    putGroup(draft, id, values);
    draft.applyMembers(id, steps, base);
  },
  remove(draft, id, ifMatch) {
    if (draft.group(id) === null) missing(GROUPS, id);
    checkVersion(ifMatch, draft.revision('group', id));
    draft.removeGroup(id);
  },
};
