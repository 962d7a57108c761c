/**
 * What the tokens of each product look like, as their public documentation describes them: an access token of a person, one of a client that
 * acts by itself, and an ID token of the same product, which must never pass. Invented values, real shapes. Also where metadata is served.
 */
import type { TrustedIssuer } from '../../src/identity/issuer-rule.ts';
import type { Members, SigningAlgorithm } from '../support/issuer.ts';
import { NOW, RESOURCE } from './rig.ts';

export interface TokenShape {
  /** Beside `alg` and `kid`. A member that is undefined is not there. */
  readonly header: Members;
  readonly claims: Members;
}

export interface Product {
  readonly profile: NonNullable<TrustedIssuer['profile']>;
  readonly algorithm: SigningAlgorithm;
  /** Path of the issuer and the metadata that it serves. */
  readonly path: string;
  readonly discovery: 'both' | 'oauth' | 'oidc';
  /** What the operator adds to the profile. */
  readonly settings: Partial<TrustedIssuer>;
  readonly person: TokenShape;
  readonly client: TokenShape;
  readonly idToken: TokenShape;
  readonly expected: {
    readonly person: Members;
    readonly client: Members;
  };
}

const TIMES = { iat: NOW, nbf: NOW, exp: NOW + 600 };
/** Takes the defaults of the mint away. */
const BARE = { sub: undefined, client_id: undefined, jti: undefined };

const TENANT = '3f0c9f7e-8a52-4d3c-9c1f-4b1f0a5f9d11';
const CLIENT = '7d1b2c3e-0f4a-4f57-8b0e-2f8a6a7c9e01';
const OBJECT = '9b7e6a55-1c2d-4e3f-8a9b-0c1d2e3f4a5b';

export const PRODUCTS: readonly Product[] = [
  {
    profile: 'remit',
    algorithm: 'ES256',
    path: '',
    discovery: 'oauth',
    settings: {},
    person: {
      header: { typ: 'at+jwt' },
      claims: {
        sub: 'corp|u-17',
        client_id: 'agent-1',
        jti: 'j-1',
        aud: RESOURCE,
        scope: 'notes:read notes:write',
        org: 'acme',
        grant_id: 'g-1',
        sid: 's-1',
        auth_time: NOW - 60,
        acr: 'urn:example:mfa',
        amr: ['pwd', 'otp'],
        act: { sub: 'agent-2' },
        groups: ['eng'],
      },
    },
    client: {
      header: { typ: 'at+jwt' },
      claims: { sub: 'ci', client_id: 'ci', jti: 'j-2', aud: RESOURCE, scope: 'notes:read', org: 'acme' },
    },
    idToken: {
      header: { typ: 'JWT' },
      claims: { ...BARE, sub: 'corp|u-17', aud: 'agent-1', nonce: 'n', at_hash: 'x', sid: 's-1', auth_time: NOW - 60 },
    },
    expected: {
      person: {
        subject: 'corp|u-17',
        clientId: 'agent-1',
        alone: false,
        scopes: new Set(['notes:read', 'notes:write']),
        tokenId: 'j-1',
        actChain: ['agent-2'],
        grantId: 'g-1',
        sessionId: 's-1',
        acr: 'urn:example:mfa',
        amr: ['pwd', 'otp'],
        authTime: NOW - 60,
        attributes: { org: ['acme'], groups: ['eng'] },
      },
      client: { subject: 'ci', clientId: 'ci', alone: true, grantId: null, sessionId: null },
    },
  },
  {
    profile: 'entra',
    algorithm: 'RS256',
    path: `/${TENANT}/v2.0`,
    discovery: 'oidc',
    settings: { audiences: [{ resource: RESOURCE, audience: 'api://notes' }] },
    person: {
      header: { typ: 'JWT' },
      claims: {
        ...BARE,
        ...TIMES,
        aud: 'api://notes',
        aio: 'ATQAy/8TAAAA',
        azp: CLIENT,
        azpacr: '0',
        groups: ['0f6d2a57-6d2b-4a57-9a53-6d9a2f0c7b11'],
        name: 'Ada Example',
        oid: OBJECT,
        preferred_username: 'ada@example.com',
        rh: '0.ASgAfp8MP1KKPE2cH0sfCl-dEQ',
        roles: ['Notes.User'],
        scp: 'notes.read notes.write',
        sid: '00a1b2c3-d4e5-f607-1829-3a4b5c6d7e8f',
        sub: 'PaIrWiSeForThisApplicationOnly',
        tid: TENANT,
        uti: 'u-1xYz',
        ver: '2.0',
      },
    },
    client: {
      header: { typ: 'JWT' },
      claims: {
        ...BARE,
        ...TIMES,
        aud: 'api://notes',
        azp: CLIENT,
        azpacr: '1',
        idtyp: 'app',
        oid: OBJECT,
        roles: ['notes.read'],
        sub: OBJECT,
        tid: TENANT,
        uti: 'u-2xYz',
        ver: '2.0',
      },
    },
    idToken: {
      header: { typ: 'JWT' },
      claims: {
        ...BARE,
        ...TIMES,
        aud: CLIENT,
        name: 'Ada Example',
        nonce: 'n',
        oid: OBJECT,
        sub: 'PaIrWiSe',
        tid: TENANT,
        uti: 'u-3xYz',
        ver: '2.0',
      },
    },
    expected: {
      person: {
        subject: OBJECT,
        clientId: CLIENT,
        alone: false,
        scopes: new Set(['notes.read', 'notes.write']),
        tokenId: 'u-1xYz',
        sessionId: '00a1b2c3-d4e5-f607-1829-3a4b5c6d7e8f',
        attributes: { groups: ['0f6d2a57-6d2b-4a57-9a53-6d9a2f0c7b11'], roles: ['Notes.User'], tid: [TENANT] },
      },
      client: { subject: OBJECT, clientId: CLIENT, alone: true, scopes: new Set(['notes.read']) },
    },
  },
  {
    profile: 'okta',
    algorithm: 'RS256',
    path: '/oauth2/aus9o8wzkhckw9TLa0h7',
    discovery: 'both',
    settings: {},
    person: {
      header: { typ: undefined },
      claims: {
        ...BARE,
        ...TIMES,
        ver: 1,
        jti: 'AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE',
        aud: RESOURCE,
        cid: 'nmdP1fcyvdVO11AL7ECm',
        uid: '00ulthapbErVUwVJy4x6',
        scp: ['notes:read', 'openid'],
        auth_time: NOW - 30,
        sub: 'ada@example.com',
        groups: ['Everyone', 'Engineering'],
      },
    },
    client: {
      header: { typ: undefined },
      claims: {
        ...BARE,
        ...TIMES,
        ver: 1,
        jti: 'AT.service',
        aud: RESOURCE,
        cid: '0oaservice',
        scp: ['notes:read'],
        sub: '0oaservice',
      },
    },
    idToken: {
      header: { typ: undefined },
      claims: {
        ...BARE,
        ...TIMES,
        ver: 1,
        jti: 'ID.4eAWJOCMB3SX8XewDfVR',
        aud: 'nmdP1fcyvdVO11AL7ECm',
        amr: ['pwd', 'otp', 'mfa'],
        idp: '00ok1u7AsAkrwdZL3z0g3',
        nonce: 'n',
        auth_time: NOW - 30,
        at_hash: 'cpqKfdQA5eH891Ff5oJr_Q',
        sub: '00ulthapbErVUwVJy4x6',
      },
    },
    expected: {
      person: {
        subject: '00ulthapbErVUwVJy4x6',
        clientId: 'nmdP1fcyvdVO11AL7ECm',
        alone: false,
        scopes: new Set(['notes:read', 'openid']),
        authTime: NOW - 30,
        attributes: { groups: ['Everyone', 'Engineering'] },
      },
      client: { subject: '0oaservice', clientId: '0oaservice', alone: true },
    },
  },
  {
    profile: 'keycloak',
    algorithm: 'RS256',
    path: '/realms/acme',
    discovery: 'oidc',
    settings: {},
    person: {
      header: { typ: 'JWT' },
      claims: {
        ...BARE,
        iat: NOW,
        exp: NOW + 300,
        auth_time: NOW - 20,
        jti: 'onrtac:59e0f1d2',
        aud: [RESOURCE, 'account'],
        sub: 'f1c4f64e-2c0c-4cda-8c9f-9f3f8f3a2b0e',
        typ: 'Bearer',
        azp: 'agent-1',
        sid: '4c0a3a8a-3a47-4f2f-8e89-9e5f9b0a0a0a',
        acr: '1',
        'allowed-origins': ['http://127.0.0.1'],
        realm_access: { roles: ['default-roles-acme', 'notes-user'] },
        resource_access: { account: { roles: ['view-profile'] } },
        scope: 'openid profile notes:read',
        preferred_username: 'ada',
        groups: ['/engineering'],
      },
    },
    client: {
      header: { typ: 'JWT' },
      claims: {
        ...BARE,
        iat: NOW,
        exp: NOW + 300,
        jti: 'trrtcc:312ee6',
        aud: RESOURCE,
        sub: '1f0b7d2f-3f63-4a53-8f1e-6a1a3f0d9c77',
        typ: 'Bearer',
        azp: 'ci',
        acr: '1',
        scope: 'notes:read',
        clientHost: '10.0.0.7',
        preferred_username: 'service-account-ci',
        client_id: 'ci',
      },
    },
    idToken: {
      header: { typ: 'JWT' },
      claims: {
        ...BARE,
        iat: NOW,
        exp: NOW + 300,
        jti: 'id-1',
        aud: 'agent-1',
        sub: 'f1c4f64e-2c0c-4cda-8c9f-9f3f8f3a2b0e',
        typ: 'ID',
        azp: 'agent-1',
        sid: '4c0a3a8a-3a47-4f2f-8e89-9e5f9b0a0a0a',
        acr: '1',
      },
    },
    expected: {
      person: {
        subject: 'f1c4f64e-2c0c-4cda-8c9f-9f3f8f3a2b0e',
        clientId: 'agent-1',
        alone: false,
        sessionId: '4c0a3a8a-3a47-4f2f-8e89-9e5f9b0a0a0a',
        acr: '1',
        authTime: NOW - 20,
        attributes: { groups: ['/engineering'], 'realm_access.roles': ['default-roles-acme', 'notes-user'] },
      },
      client: { subject: '1f0b7d2f-3f63-4a53-8f1e-6a1a3f0d9c77', clientId: 'ci', alone: true },
    },
  },
  {
    profile: 'auth0',
    algorithm: 'RS256',
    path: '/',
    discovery: 'both',
    settings: {},
    person: {
      header: { typ: 'at+jwt' },
      claims: {
        ...BARE,
        ...TIMES,
        nbf: undefined,
        sub: 'auth0|6553da60a54af58e29493993',
        client_id: 'K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja',
        jti: '73WakrfVbNJBaAmhQtEeDv',
        aud: [RESOURCE, '{issuer}userinfo'],
        scope: 'openid profile notes:read',
        org_id: 'org_9ybsU1dN2dKfDkBi',
        permissions: ['notes:read'],
      },
    },
    client: {
      header: { typ: 'at+jwt' },
      claims: {
        ...BARE,
        ...TIMES,
        nbf: undefined,
        sub: 'awZfdIir8YFdGZWkvCejDoUb7SjTDicx@clients',
        client_id: 'awZfdIir8YFdGZWkvCejDoUb7SjTDicx',
        jti: 'm2m-1',
        aud: RESOURCE,
        scope: 'notes:read',
      },
    },
    idToken: {
      header: { typ: 'JWT' },
      claims: {
        ...BARE,
        ...TIMES,
        nbf: undefined,
        sub: 'auth0|6553da60a54af58e29493993',
        aud: 'K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja',
        nonce: 'n',
        sid: 'sid-1',
      },
    },
    expected: {
      person: {
        subject: 'auth0|6553da60a54af58e29493993',
        clientId: 'K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja',
        alone: false,
        attributes: { org_id: ['org_9ybsU1dN2dKfDkBi'], permissions: ['notes:read'] },
      },
      client: { clientId: 'awZfdIir8YFdGZWkvCejDoUb7SjTDicx', alone: true },
    },
  },
  {
    profile: 'workos',
    algorithm: 'RS256',
    path: '',
    discovery: 'oauth',
    settings: {},
    person: {
      header: { typ: undefined },
      claims: {
        ...BARE,
        iat: NOW,
        exp: NOW + 300,
        aud: RESOURCE,
        sub: 'user_01HBEQKA6K4QJAS93VPE39W1JT',
        client_id: 'client_01HXYZ',
        org_id: 'org_01HRDMC6CM357W30QMHMQ96Q0S',
        sid: 'app_consent_01HW',
        scope: 'openid notes:read',
        jti: '01HQSXZGF8FHF7A9ZZFCW4387R',
      },
    },
    client: {
      header: { typ: undefined },
      claims: {
        ...BARE,
        iat: NOW,
        exp: NOW + 300,
        aud: RESOURCE,
        sub: 'client_01M2M',
        client_id: 'client_01M2M',
        org_id: 'org_01HRDMC6CM357W30QMHMQ96Q0S',
        scope: 'notes:read',
        jti: '01HQSXM2M',
      },
    },
    idToken: {
      header: { typ: undefined },
      claims: {
        ...BARE,
        iat: NOW,
        exp: NOW + 300,
        aud: 'client_01HXYZ',
        sub: 'user_01HBEQKA6K4QJAS93VPE39W1JT',
        nonce: 'n',
        name: 'Ada Example',
      },
    },
    expected: {
      person: {
        subject: 'user_01HBEQKA6K4QJAS93VPE39W1JT',
        clientId: 'client_01HXYZ',
        alone: false,
        grantId: 'app_consent_01HW',
        sessionId: null,
        attributes: { org_id: ['org_01HRDMC6CM357W30QMHMQ96Q0S'] },
      },
      client: { subject: 'client_01M2M', alone: true },
    },
  },
];
