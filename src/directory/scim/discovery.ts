/** The three documents by which a client learns what this provider can (RFC 7644 section 4, RFC 7643 sections 5 to 7). Nothing in them is about an organisation. */
import type { Json, JsonObject } from '../../lib/json.ts';
import { GROUPS, SCHEMAS, USERS, type Attribute, type ResourceType, type Schema } from './schemas.ts';

export const LIST_RESPONSE = 'urn:ietf:params:scim:api:messages:2.0:ListResponse';

export interface Limits {
  readonly maxResults: number;
  readonly maxOperations: number;
  readonly maxPayloadBytes: number;
}

export function serviceProviderConfig(base: string, limits: Limits): JsonObject {
  return {
    schemas: ['urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig'],
    patch: { supported: true },
    bulk: { supported: true, maxOperations: limits.maxOperations, maxPayloadSize: limits.maxPayloadBytes },
    filter: { supported: true, maxResults: limits.maxResults },
    changePassword: { supported: false },
    sort: { supported: true },
    etag: { supported: true },
    authenticationSchemes: [
      {
        type: 'oauthbearertoken',
        name: 'Bearer token of a connection',
        description: 'A token that an administrator of Remit made for this connection. It expires.',
        primary: true,
      },
    ],
    meta: { resourceType: 'ServiceProviderConfig', location: `${base}/ServiceProviderConfig` },
  };
}

const resourceType = ({ name, endpoint, description, schema, extension }: ResourceType, base: string): JsonObject => ({
  schemas: ['urn:ietf:params:scim:schemas:core:2.0:ResourceType'],
  id: name,
  name,
  endpoint,
  description,
  schema: schema.id,
  ...(extension === null ? {} : { schemaExtensions: [{ schema: extension.id, required: false }] }),
  meta: { resourceType: 'ResourceType', location: `${base}/ResourceTypes/${name}` },
});

export const resourceTypes = (base: string): readonly JsonObject[] =>
  [USERS, GROUPS].map((type) => resourceType(type, base));

function attributeDocument(attribute: Attribute): JsonObject {
  const { canonicalValues, referenceTypes, subAttributes, ...rest } = attribute;
  return {
    ...rest,
    ...(canonicalValues === undefined ? {} : { canonicalValues: [...canonicalValues] }),
    ...(referenceTypes === undefined ? {} : { referenceTypes: [...referenceTypes] }),
    ...(subAttributes === undefined ? {} : { subAttributes: subAttributes.map(attributeDocument) }),
  };
}

const schemaDocument = ({ id, name, description, attributes }: Schema, base: string): JsonObject => ({
  schemas: ['urn:ietf:params:scim:schemas:core:2.0:Schema'],
  id,
  name,
  description,
  attributes: attributes.map(attributeDocument),
  meta: { resourceType: 'Schema', location: `${base}/Schemas/${id}` },
});

export const schemas = (base: string): readonly JsonObject[] => SCHEMAS.map((schema) => schemaDocument(schema, base));

export const listResponse = (resources: readonly Json[], total: number, startIndex: number): JsonObject => ({
  schemas: [LIST_RESPONSE],
  totalResults: total,
  itemsPerPage: resources.length,
  startIndex,
  Resources: resources,
});
