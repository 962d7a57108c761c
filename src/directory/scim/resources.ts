/**
 * People and groups of the directory as SCIM resources, both ways. What decisions read stands in the record's own members; everything else in
 * `provisioned.profile`. Roles, other people's groups and what administrators said are carried over, never written from here.
 */
import { z } from 'zod';
import { canonicalJson } from '../../lib/canonical-json.ts';
import type { Json } from '../../lib/json.ts';
import type { Group, Identity, Person, Provisioned, ScimConnection } from '../records.ts';
import { bad, refuse } from './problem.ts';
import { ENTERPRISE, GROUP, USER } from './schemas.ts';
import { blank, copyOf, isValues, type Value, type Values } from './values.ts';

const MAX_PROFILE = 16 * 1_024;
const Email = z.email().max(320);

/** What `provisioned.profile` holds: times in ms since the epoch, and the attributes that have no member of their own; of people `inactive`, too. */
interface Profile {
  readonly created: number;
  readonly modified: number;
  readonly attributes: Values;
}

export function profileOf(provisioned: Provisioned | undefined): Profile {
  const profile = provisioned?.profile ?? {};
  const time = (value: Json | undefined): number => (typeof value === 'number' ? value : 0);
  const attributes = profile['attributes'];
  return {
    created: time(profile['created']),
    modified: time(profile['modified']),
    attributes: isValues(attributes) ? copyOf(attributes) : blank(),
  };
}

/** Whether the directory's last word was that they are inactive, whoever else made them so. */
export const saysInactive = (provisioned: Provisioned | undefined): boolean =>
  provisioned?.profile?.['inactive'] === true;

/** The attributes of a person that a client may write, as a copy to change. */
export function userValues({ state, provisioned }: Person): Values {
  const values = profileOf(provisioned).attributes;
  if (provisioned?.userName !== undefined) values['userName'] = provisioned.userName;
  if (provisioned?.externalId !== undefined) values['externalId'] = provisioned.externalId;
  values['active'] = state === 'active';
  return values;
}

/** Under which identities a person of this connection signs in; the first is their own. */
export function identitiesOf(
  connection: Pick<ScimConnection, 'identities'>,
  facts: { readonly id: string; readonly userName: string; readonly externalId: string | undefined },
): readonly Identity[] {
  const identities = connection.identities.flatMap(({ issuer, subject: template }): Identity[] => {
    if (template.includes('{externalId}') && facts.externalId === undefined) return [];
    const subject = template.replaceAll(
      /\{(externalId|userName|id)\}/g,
      (_, name: 'externalId' | 'userName' | 'id') => facts[name] ?? '',
    );
    if (subject.length > 255) bad('invalidValue', 'The subject at the issuer would be longer than 255 characters.');
    return [{ issuer, subject }];
  });
  if (identities.length === 0) bad('invalidValue', 'externalId is needed: this connection names people by it.');
  return identities;
}

const text = (value: Value | undefined): string | undefined => (typeof value === 'string' ? value : undefined);

const RESERVED = new Set(['userName', 'externalId', 'active', 'displayName', 'members', 'groups']);

/** The record of a person with these attributes. `before`: as it stands, whose roles, groups and identities of others are kept. */
export function personOf(input: {
  readonly id: string;
  readonly connectionId: string;
  readonly connection: Pick<ScimConnection, 'identities'>;
  readonly before: Person | null;
  readonly values: Values;
  /** What the directory said of `active` this time; undefined: nothing. */
  readonly said: boolean | undefined;
  readonly now: number;
}): Person {
  const { id, connectionId, connection, before, values, said, now } = input;
  const userName = text(values['userName']);
  if (userName === undefined || userName.trim() === '' || userName.length > 500)
    return bad('invalidValue', 'userName is required and has at most 500 characters.');
  const externalId = externalIdOf(values);
  const [own, ...also] = identitiesOf(connection, { id, userName, externalId });
  const email = emailOf(values['emails']);
  return {
    ...(before?.breakGlass === undefined ? {} : { breakGlass: before.breakGlass }),
    issuer: own!.issuer,
    subject: own!.subject,
    name: nameOf(values, userName),
    ...(email === undefined ? {} : { email }),
    state: values['active'] === false ? 'inactive' : 'active',
    roles: before?.roles ?? [],
    ...(also.length === 0 ? {} : { also }),
    ...(before?.groups === undefined ? {} : { groups: before.groups }),
    provisioned: {
      connection: connectionId,
      userName,
      ...(externalId === undefined ? {} : { externalId }),
      profile: {
        ...profile(values, new Set([...RESERVED].filter((name) => name !== 'displayName')), before?.provisioned, now),
        ...((said ?? !saysInactive(before?.provisioned)) ? {} : { inactive: true }),
      },
    },
  };
}

function externalIdOf(values: Values): string | undefined {
  const externalId = text(values['externalId']);
  if (externalId !== undefined && externalId.length > 500)
    return bad('invalidValue', 'externalId has at most 500 characters.');
  return externalId;
}

function nameOf(values: Values, userName: string): string {
  const parts = isValues(values['name']) ? values['name'] : blank();
  const joined = [text(parts['givenName']), text(parts['familyName'])].filter((part) => part !== undefined).join(' ');
  const name = [text(values['displayName']), text(parts['formatted']), joined, userName].find(
    (candidate) => candidate !== undefined && candidate.trim() !== '',
  );
  return (name ?? userName).trim().slice(0, 200).toWellFormed();
}

function emailOf(emails: Value | undefined): string | undefined {
  const all = Array.isArray(emails) ? emails.filter(isValues) : [];
  const chosen = all.find((one) => one['primary'] === true) ?? all.find((one) => one['type'] === 'work') ?? all[0];
  const read = Email.safeParse(chosen?.['value']);
  return read.success ? read.data : undefined;
}

function profile(
  values: Values,
  leftOut: ReadonlySet<string>,
  before: Provisioned | undefined,
  now: number,
): { [name: string]: Value } {
  const attributes: { [name: string]: Value } = {};
  for (const name of Object.keys(values)) {
    const value = values[name]!;
    if (!leftOut.has(name) && !(isValues(value) && Object.keys(value).length === 0)) attributes[name] = value;
  }
  if (canonicalJson(attributes).length > MAX_PROFILE)
    refuse({ status: 413, detail: `The attributes of a resource have at most ${MAX_PROFILE} characters as JSON.` });
  const created = profileOf(before).created;
  return { created: created === 0 ? now : created, modified: now, attributes };
}

export function groupValues({ name, provisioned }: Group): Values {
  const values = profileOf(provisioned).attributes;
  values['displayName'] = name;
  if (provisioned?.externalId !== undefined) values['externalId'] = provisioned.externalId;
  return values;
}

export function groupOf(input: {
  readonly connectionId: string;
  readonly before: Group | null;
  readonly values: Values;
  readonly now: number;
}): Group {
  const { connectionId, before, values, now } = input;
  const name = text(values['displayName']);
  if (name === undefined || name.trim() === '' || name.length > 300)
    return bad('invalidValue', 'displayName is required and has at most 300 characters.');
  const externalId = externalIdOf(values);
  return {
    name,
    roles: before?.roles ?? [],
    provisioned: {
      connection: connectionId,
      ...(externalId === undefined ? {} : { externalId }),
      profile: profile(values, RESERVED, before?.provisioned, now),
    },
  };
}

/** Whether two records say the same but for the time of their last change. */
export function sameRecord(a: Person | Group, b: Person | Group): boolean {
  const timeless = (record: Person | Group): string =>
    canonicalJson({
      ...record,
      provisioned: { ...record.provisioned, profile: { ...record.provisioned?.profile, modified: 0 } },
    });
  return timeless(a) === timeless(b);
}

export interface Reference {
  readonly id: string;
  readonly name: string;
}

/** A weak ETag: the revision says when the record changed, not in which bytes it is shown. */
export const etagOf = (revision: number): string => `W/"${revision}"`;

interface Shown {
  readonly id: string;
  readonly revision: number;
  /** `https://host/scim/v2`. */
  readonly base: string;
}

function meta(
  resourceType: 'User' | 'Group',
  { id, revision, base }: Shown,
  provisioned: Provisioned | undefined,
): Values {
  const { created, modified } = profileOf(provisioned);
  const result = blank();
  result['resourceType'] = resourceType;
  result['created'] = new Date(created).toISOString();
  result['lastModified'] = new Date(modified).toISOString();
  result['location'] = `${base}/${resourceType}s/${id}`;
  result['version'] = etagOf(revision);
  return result;
}

/** Groups: those of the connection alone. */
export function userResource(person: Person, groups: readonly Reference[], shown: Shown): Values {
  const values = userValues(person);
  const { base } = shown;
  const extension = values[ENTERPRISE];
  values['schemas'] = extension === undefined ? [USER] : [USER, ENTERPRISE];
  values['id'] = shown.id;
  if (groups.length > 0) {
    values['groups'] = groups.map(({ id, name }) => ({
      value: id,
      display: name,
      $ref: `${base}/Groups/${id}`,
      type: 'direct',
    }));
  }
  values['meta'] = meta('User', shown, person.provisioned);
  return values;
}

/** `members`: ids; null: not asked for. */
export function groupResource(group: Group, members: readonly string[] | null, shown: Shown): Values {
  const values = groupValues(group);
  const { base } = shown;
  values['schemas'] = [GROUP];
  values['id'] = shown.id;
  if (members !== null && members.length > 0) values['members'] = members.map((id) => memberValues(id, base));
  values['meta'] = meta('Group', shown, group.provisioned);
  return values;
}

export const memberValues = (id: string, base: string): Values => ({
  value: id,
  type: 'User',
  $ref: `${base}/Users/${id}`,
});
