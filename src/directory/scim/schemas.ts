/**
 * The SCIM schemas that Remit serves (RFC 7643 sections 4 and 7): User with the enterprise extension, Group. One table, read by everything
 * that reads, writes, filters or describes a resource. Names are looked up in maps without regard to case (RFC 7643 section 2.1), never as
 * members of an object. Not kept at all: `password` (nobody signs in here with one) and `x509Certificates`. Long because it is one table.
 */

export const USER = 'urn:ietf:params:scim:schemas:core:2.0:User';
export const ENTERPRISE = 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User';
export const GROUP = 'urn:ietf:params:scim:schemas:core:2.0:Group';

export interface Attribute {
  readonly name: string;
  readonly type: 'string' | 'boolean' | 'dateTime' | 'reference' | 'complex';
  readonly multiValued: boolean;
  readonly description: string;
  readonly required: boolean;
  readonly caseExact: boolean;
  readonly mutability: 'readOnly' | 'readWrite' | 'immutable';
  readonly returned: 'always' | 'default';
  readonly uniqueness: 'none' | 'server';
  readonly canonicalValues?: readonly string[];
  readonly referenceTypes?: readonly string[];
  readonly subAttributes?: readonly Attribute[];
}

export interface Schema {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly attributes: readonly Attribute[];
}

export interface ResourceType {
  readonly name: 'User' | 'Group';
  readonly endpoint: '/Users' | '/Groups';
  readonly description: string;
  readonly schema: Schema;
  readonly extension: Schema | null;
}

function attribute(name: string, description: string, more: Partial<Attribute> = {}): Attribute {
  return {
    name,
    type: 'string',
    multiValued: false,
    description,
    required: false,
    caseExact: false,
    mutability: 'readWrite',
    returned: 'default',
    uniqueness: 'none',
    ...more,
  };
}

const complex = (
  name: string,
  description: string,
  subAttributes: readonly Attribute[],
  more: Partial<Attribute> = {},
): Attribute => attribute(name, description, { type: 'complex', subAttributes, ...more });

/** RFC 7643 section 2.4: the usual members of an element of a multi-valued attribute. */
function several(name: string, description: string, types: readonly string[] | null, value: Partial<Attribute> = {}) {
  return complex(
    name,
    description,
    [
      attribute('value', 'The value.', value),
      attribute('display', 'A name for people to read.'),
      attribute('type', 'What it is for.', types === null ? {} : { canonicalValues: types }),
      attribute('primary', 'Whether it is the preferred one; at most one is.', { type: 'boolean' }),
    ],
    { multiValued: true },
  );
}

const URI: Partial<Attribute> = { type: 'reference', referenceTypes: ['external'], caseExact: true };

const userSchema: Schema = {
  id: USER,
  name: 'User',
  description: 'A person',
  attributes: [
    attribute('userName', 'The name that the directory knows the person by. Unique within the connection.', {
      required: true,
      uniqueness: 'server',
    }),
    complex('name', 'The parts of the name.', [
      attribute('formatted', 'The whole name.'),
      attribute('familyName', 'The family name.'),
      attribute('givenName', 'The given name.'),
      attribute('middleName', 'The middle names.'),
      attribute('honorificPrefix', 'A title before the name.'),
      attribute('honorificSuffix', 'What follows the name.'),
    ]),
    attribute('displayName', 'The name that others see.'),
    attribute('nickName', 'A casual name.'),
    attribute('profileUrl', 'A page about the person.', URI),
    attribute('title', 'What the person does, such as "Vice President".'),
    attribute('userType', 'The relation to the organisation, such as "Employee".'),
    attribute('preferredLanguage', 'As in Accept-Language.'),
    attribute('locale', 'For numbers and dates, such as "en-GB".'),
    attribute('timezone', 'An Olson name, such as "Europe/Berlin".'),
    attribute('active', 'False takes everything away at once: tokens, held calls, what is running.', {
      type: 'boolean',
    }),
    several('emails', 'E-mail addresses.', ['work', 'home', 'other']),
    several('phoneNumbers', 'Telephone numbers.', ['work', 'home', 'mobile', 'fax', 'pager', 'other']),
    several('ims', 'Instant messaging addresses.', null),
    several('photos', 'Addresses of pictures.', ['photo', 'thumbnail'], URI),
    complex(
      'addresses',
      'Postal addresses.',
      [
        attribute('formatted', 'The whole address.'),
        attribute('streetAddress', 'Street and number.'),
        attribute('locality', 'City.'),
        attribute('region', 'State or region.'),
        attribute('postalCode', 'Postal code.'),
        attribute('country', 'ISO 3166-1 alpha-2.'),
        attribute('type', 'What it is for.', { canonicalValues: ['work', 'home', 'other'] }),
        attribute('primary', 'Whether it is the preferred one; at most one is.', { type: 'boolean' }),
      ],
      { multiValued: true },
    ),
    complex(
      'groups',
      'Groups of this connection that the person is in. Changed at the group.',
      [
        attribute('value', 'Id of the group.', { mutability: 'readOnly', caseExact: true }),
        attribute('$ref', 'Address of the group.', {
          type: 'reference',
          referenceTypes: ['Group'],
          mutability: 'readOnly',
          caseExact: true,
        }),
        attribute('display', 'Name of the group.', { mutability: 'readOnly' }),
        attribute('type', 'Always "direct".', { mutability: 'readOnly', canonicalValues: ['direct', 'indirect'] }),
      ],
      { multiValued: true, mutability: 'readOnly' },
    ),
    several('entitlements', 'Kept as they are; they give no rights in Remit.', null),
    several('roles', 'Kept as they are; they give no rights in Remit. Roles come from groups.', null),
  ],
};

const enterpriseSchema: Schema = {
  id: ENTERPRISE,
  name: 'EnterpriseUser',
  description: 'What an enterprise says of a person',
  attributes: [
    attribute('employeeNumber', 'The number of the employee.'),
    attribute('costCenter', 'The cost centre.'),
    attribute('organization', 'The organisation.'),
    attribute('division', 'The division.'),
    attribute('department', 'The department.'),
    complex('manager', 'The manager.', [
      attribute('value', 'Id of the manager.', { caseExact: true }),
      attribute('$ref', 'Address of the manager.', { type: 'reference', referenceTypes: ['User'], caseExact: true }),
      attribute('displayName', 'Name of the manager.', { mutability: 'readOnly' }),
    ]),
  ],
};

const groupSchema: Schema = {
  id: GROUP,
  name: 'Group',
  description: 'A group of people',
  attributes: [
    attribute('displayName', 'The name of the group.', { required: true }),
    complex(
      'members',
      'People of this connection. Groups within groups are refused.',
      [
        attribute('value', 'Id of the person.', { mutability: 'immutable', caseExact: true }),
        attribute('$ref', 'Address of the person.', {
          type: 'reference',
          referenceTypes: ['User'],
          mutability: 'immutable',
          caseExact: true,
        }),
        attribute('type', 'Always "User".', { mutability: 'immutable', canonicalValues: ['User'] }),
      ],
      { multiValued: true },
    ),
  ],
};

export const SCHEMAS: readonly Schema[] = [userSchema, enterpriseSchema, groupSchema];

export const USERS: ResourceType = {
  name: 'User',
  endpoint: '/Users',
  description: 'People',
  schema: userSchema,
  extension: enterpriseSchema,
};
export const GROUPS: ResourceType = {
  name: 'Group',
  endpoint: '/Groups',
  description: 'Groups of people',
  schema: groupSchema,
  extension: null,
};

/** RFC 7643 section 3.1: of every resource, in no schema. */
const COMMON: readonly Attribute[] = [
  attribute('id', 'Given by Remit.', { caseExact: true, mutability: 'readOnly', returned: 'always' }),
  attribute('externalId', 'Given by the directory.', { caseExact: true }),
  attribute('schemas', 'Schemas of the resource.', {
    type: 'reference',
    caseExact: true,
    multiValued: true,
    mutability: 'readOnly',
    returned: 'always',
  }),
  complex(
    'meta',
    'About the resource itself.',
    [
      attribute('resourceType', 'User or Group.', { caseExact: true, mutability: 'readOnly' }),
      attribute('created', 'When it was made.', { type: 'dateTime', mutability: 'readOnly' }),
      attribute('lastModified', 'When it was changed last.', { type: 'dateTime', mutability: 'readOnly' }),
      attribute('location', 'Its address.', { type: 'reference', caseExact: true, mutability: 'readOnly' }),
      attribute('version', 'Its ETag.', { caseExact: true, mutability: 'readOnly' }),
    ],
    { mutability: 'readOnly' },
  ),
];

/** Attributes of the standard that are accepted and thrown away. */
const NOT_KEPT = new Set(['password', 'x509certificates']);

const NAMED = new Map<readonly Attribute[], ReadonlyMap<string, Attribute>>();

/** An attribute of a list by its name in any case. */
export function named(attributes: readonly Attribute[] | undefined, name: string): Attribute | undefined {
  if (attributes === undefined) return undefined;
  let map = NAMED.get(attributes);
  if (map === undefined) NAMED.set(attributes, (map = new Map(attributes.map((one) => [one.name.toLowerCase(), one]))));
  return map.get(name.toLowerCase());
}

/** Where a name leads: `extension` null: a member of the resource itself. */
export interface Place {
  readonly extension: string | null;
  /** Null: the extension as a whole. */
  readonly attribute: Attribute | null;
  readonly sub: Attribute | null;
}

/**
 * Resolves an attribute name as clients write it: any case, with or without the URN of its schema, dotted. An attribute of the extension is
 * found without its URN when the core schema has none of that name. `not_kept`: known, and thrown away. undefined: no such attribute.
 */
export function placeOf(type: ResourceType, text: string): Place | 'not_kept' | undefined {
  const lower = text.toLowerCase();
  for (const schema of [type.schema, type.extension]) {
    if (schema === null) continue;
    const urn = schema.id.toLowerCase();
    const extension = schema === type.extension ? schema.id : null;
    if (lower === urn) return extension === null ? undefined : { extension, attribute: null, sub: null };
    // `urn:…:User:name.givenName`; some clients write a dot after the URN.
    if (lower.startsWith(urn) && (lower[urn.length] === ':' || lower[urn.length] === '.'))
      return within(schema, extension, text.slice(urn.length + 1));
  }
  return (
    within(type.schema, null, text) ??
    (type.extension === null ? undefined : within(type.extension, type.extension.id, text))
  );
}

function within(schema: Schema, extension: string | null, text: string): Place | 'not_kept' | undefined {
  const [name = '', subName, ...rest] = text.split('.');
  if (rest.length > 0) return undefined;
  if (extension === null && NOT_KEPT.has(name.toLowerCase())) return 'not_kept';
  const attribute = named(schema.attributes, name) ?? (extension === null ? named(COMMON, name) : undefined);
  if (attribute === undefined) return undefined;
  if (subName === undefined) return { extension, attribute, sub: null };
  const sub = named(attribute.subAttributes, subName);
  return sub === undefined ? undefined : { extension, attribute, sub };
}
