import { describe, expect, test } from 'vitest';
import { httpGuards } from '../../src/protocol/http-guards.ts';

const guard = httpGuards({
  allowedHosts: ['localhost', '127.0.0.1:8080', '[::1]', 'MCP.example.com'],
  allowedOrigins: ['https://console.example.com', 'http://localhost:3000', 'null'],
});

describe('PH-03: passes', () => {
  test.each([
    ['a host on any port', { host: 'localhost:9999' }],
    ['a host without port', { host: 'localhost' }],
    ['a host on its port', { host: '127.0.0.1:8080' }],
    ['IPv6 on any port', { host: '[::1]:8080' }],
    ['a host in other case', { host: 'mcp.EXAMPLE.com' }],
    ['a listed origin', { host: 'localhost', origin: 'https://console.example.com' }],
  ])('%s', (_title, headers) => {
    expect(guard(headers)).toBeNull();
  });
});

describe('PH-03: refuses with 403 and no id', () => {
  test.each([
    ['no host', {}, 'Host'],
    ['an empty host', { host: '' }, 'Host'],
    ['a rebound name', { host: 'evil.example' }, 'Host'],
    ['a host on another port', { host: '127.0.0.1:8081' }, 'Host'],
    ['a name that ends like ours', { host: 'evil-localhost' }, 'Host'],
    ['a name that begins like ours', { host: 'localhost.evil.example' }, 'Host'],
    ['a trailing dot', { host: 'localhost.' }, 'Host'],
    ['user information', { host: 'localhost@evil.example' }, 'Host'],
    ['two hosts', { host: 'localhost, evil.example' }, 'Host'],
    ['IPv6 without brackets', { host: '::1' }, 'Host'],
    ['a port that is none', { host: 'localhost:80x' }, 'Host'],
    ['a foreign origin', { host: 'localhost', origin: 'https://evil.example' }, 'Origin'],
    ['the origin null, even if somebody listed it', { host: 'localhost', origin: 'null' }, 'Origin'],
    ['an empty origin', { host: 'localhost', origin: '' }, 'Origin'],
    ['our origin on another scheme', { host: 'localhost', origin: 'http://console.example.com' }, 'Origin'],
    [
      'our origin with more behind it',
      { host: 'localhost', origin: 'https://console.example.com.evil.example' },
      'Origin',
    ],
  ])('%s', (_title, headers, what) => {
    expect(guard(headers)).toEqual({
      httpStatus: 403,
      id: null,
      code: -32600,
      message: `${what} is not allowed on this listener`,
    });
  });
});
