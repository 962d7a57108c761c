/** CI-10: which questions of servers reach no person: forms that ask for secrets, and visits to addresses that are not plainly a listed host. */
import { array, assert, constantFrom, property, string } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { asksForSecret, mayVisit, namesSecret, visitsOfServer } from '../../src/gateway/inspection-asks.ts';
import { Server } from '../../src/inventory/records.ts';
import type { JsonObject } from '../../src/lib/json.ts';

const form = (properties: JsonObject, message = 'Please fill this in.'): JsonObject => ({
  mode: 'form',
  message,
  requestedSchema: { type: 'object', properties },
});
const text = { type: 'string' };

const SECRET_NAMES = [
  'password', 'Password', 'PASSWORD', 'pass_word', 'passWord', 'userPassword', 'new-password', 'p a s s w o r d', 'p.a.s.s.w.o.r.d', 'p4ssw0rd',
  'pa$$word', 'passwd', 'pwd', 'passphrase', 'pass', 'pässwörd', 'раssword', 'ｐａｓｓｗｏｒｄ', 'pass\u200bword', 'pass\u00adword',
  'secret', 'clientSecret', 'client_secret', 'API key', 'apiKey', 'APIKey', 'api-key', 'x_api_key', 'access token', 'accessToken', 'token',
  'bearer token', 'refresh_token', 'PIN', 'pin', 'pinCode', 'CVV', 'cvc', 'card number', 'cardNumber', 'credit_card', 'SSN',
  'social security number', 'private key', 'privateKey', 'ssh_key', 'OTP', 'otp', '2FA code', 'two-factor code', 'mfa', 'verification code',
  'one-time code', 'recovery code', 'seed phrase', 'credentials', 'Kennwort', 'Passwort', 'mot de passe', 'contraseña', 'senha', 'wachtwoord',
  'hasło', 'lösenord', 'heslo', 'parola', 'пароль', '密码', '验证码', 'パスワード', '비밀번호', 'كلمة المرور', 'Kreditkarte', 'TAN', 'jelszó',
  'Geheimnis', 'Sicherheitscode',
]; // prettier-ignore

describe('forms', () => {
  test.each(SECRET_NAMES)('CI-10: a field named %j is asked of nobody', (name) => {
    expect(asksForSecret(form({ [name]: text }))).toBe(true);
    expect(asksForSecret(form({ a: { ...text, title: name } }))).toBe(true);
  });

  test.each<[string, JsonObject]>([
    ['a description', form({ a: { ...text, description: 'Your GitHub password' } })],
    ['a message over an innocent field', form({ a: text }, 'Please enter the verification code that we sent you')],
    ['a default', form({ a: { ...text, default: 'your password' } })],
    ['the format password', form({ a: { ...text, format: 'password' } })],
    ['a number', form({ pin: { type: 'integer' } })],
    ['writeOnly', form({ a: { ...text, writeOnly: true } })],
    [
      'a title of the whole',
      { message: '', requestedSchema: { type: 'object', title: 'API key', properties: { a: text } } },
    ],
  ])('CI-10: %s that asks for a secret is asked of nobody', (_what, params) => {
    expect(asksForSecret(params)).toBe(true);
  });

  test.each<[string, JsonObject]>([
    ['a name and an e-mail address', form({ name: text, email: { ...text, format: 'email' } })],
    ['yes or no about a password', form({ reset_password: { type: 'boolean' } }, 'Shall the password be reset?')],
    ['a choice among ways to sign in', form({ how: { ...text, enum: ['password', 'sso'] } })],
    ['numbers of tokens', form({ max_tokens: { type: 'integer' }, page_token: text, tokens: { type: 'integer' } })],
    [
      'the slow order of a compass',
      form({ order: text }, 'In the slow order of a compass, pass order and discard numbers'),
    ],
    ['a passenger, a shipping address, a spinning wheel', form({ passenger: text, shipping: text, spinning: text })],
    ['an opinion', form({ opinion: text, company: text, pinnacle: text, tangent: text, japan: text })],
  ])('are asked: %s', (_what, params) => {
    expect(asksForSecret(params)).toBe(false);
  });

  test('any text is judged, and a name that is spelled with something between its letters is still that name', () => {
    assert(
      property(string({ unit: 'grapheme', maxLength: 2_000 }), (any) => {
        expect(typeof namesSecret(any, true)).toBe('boolean');
      }),
      { seed: 10, numRuns: 300 },
    );
    const between = constantFrom('', '_', '-', '.', ' ', '\u200b', '\u2060', '\u00ad');
    assert(
      property(between, constantFrom('password', 'PASSWORD', 'apikey'), (glue, word) => {
        expect(namesSecret(word.split('').join(glue), true)).toBe(true);
      }),
      { seed: 10, numRuns: 100 },
    );
  });
});

describe('visits', () => {
  const hosts = new Set(['pay.example.com', '*.corp.example', 'dev.example.com:8443']);

  test.each([
    'https://pay.example.com',
    'https://pay.example.com/confirm?id=1#there',
    'https://PAY.example.com/',
    'https://pay.example.com:443/x',
    'https://a.corp.example/x',
    'https://a.b.corp.example/x',
    'https://dev.example.com:8443/x',
  ])('may go to %s', (url) => expect(mayVisit(url, hosts)).toBe(true));

  test.each([
    ['another host', 'https://evil.example/'],
    ['a name that only begins so', 'https://pay.example.com.evil.example/'],
    ['a name that only ends so', 'https://notpay.example.com/'],
    ['what is below a host that is listed alone', 'https://a.pay.example.com/'],
    ['the parent of a wildcard', 'https://corp.example/'],
    ['http', 'http://pay.example.com/'],
    ['javascript', 'javascript:alert(1)//https://pay.example.com/'],
    ['data', 'data:text/html,hi'],
    ['a file', 'file:///etc/passwd'],
    ['a user', 'https://user@pay.example.com/'],
    ['a host as a user', 'https://pay.example.com@evil.example/'],
    ['a user and a password', 'https://a:b@pay.example.com/'],
    ['another port', 'https://pay.example.com:8443/'],
    ['no port where one is listed', 'https://dev.example.com/'],
    ['an IPv4 address', 'https://93.184.216.34/'],
    ['an IPv4 address as one number', 'https://1572395042/'],
    ['an IPv4 address in hexadecimal', 'https://0x5db8d822/'],
    ['an IPv6 address', 'https://[2606:2800:220:1::]/'],
    ['a look-alike letter', 'https://pаy.example.com/'],
    ['punycode', 'https://xn--py-7kc.example.com/'],
    ['punycode below a wildcard', 'https://xn--80ak6aa92e.corp.example/'],
    ['a full-width letter', 'https://ｐay.example.com/'],
    ['an ideographic full stop', 'https://pay。example.com/'],
    ['a soft hyphen', 'https://pay\u00ad.example.com/'],
    ['a percent-encoded host', 'https://pay%2eexample.com/'],
    ['a backslash', 'https://evil.example\\@pay.example.com/'],
    ['a backslash in the path', 'https://pay.example.com\\.evil.example/'],
    ['a tab', 'https://pay.exa\tmple.com/'],
    ['a line break', 'https://pay.example.com/\n'],
    ['a space before', ' https://pay.example.com/'],
    ['a dot at the end', 'https://pay.example.com./'],
    ['no slashes', 'https:pay.example.com/'],
    ['one slash', 'https:/pay.example.com/'],
    ['three slashes', 'https:///pay.example.com/'],
    ['nothing', ''],
    ['no text', 7],
    ['too long', `https://pay.example.com/${'a'.repeat(2_048)}`],
  ])('CI-10: nobody is sent to %s', (_what, url) => expect(mayVisit(url, hosts)).toBe(false));

  test('CI-10: whatever is let through is read by the platform as https at a listed host', () => {
    const part = constantFrom(
      'https://',
      'http://',
      '@',
      ':',
      '443',
      '/',
      '\\',
      '.',
      'pay.example.com',
      'evil.example',
      '#',
      '?',
      '%2e',
      'xn--',
      '。',
      ' ',
    );
    assert(
      property(array(part, { maxLength: 8 }), (parts) => {
        const url = parts.join('');
        if (!mayVisit(url, hosts)) return;
        const { protocol, hostname, port, username } = new URL(url);
        expect([protocol, hostname, port, username]).toEqual(['https:', 'pay.example.com', '', '']);
      }),
      { seed: 10, numRuns: 5_000 },
    );
  });

  test('left out, a server may send people to itself and nowhere else', () => {
    const record = (upstream: object, more: object = {}) =>
      Server.parse({
        title: 'T', owner: 'o', purpose: 'p', environment: 'production', dataClasses: ['internal'], state: 'enabled', upstream, ...more,
      }); // prettier-ignore
    const http = { transport: 'http', url: 'https://mcp.example.com/mcp' };
    expect([...visitsOfServer(record(http))]).toEqual(['mcp.example.com']);
    expect([...visitsOfServer(record({ ...http, url: 'https://mcp.example.com:8443/' }))]).toEqual([
      'mcp.example.com:8443',
    ]);
    expect([...visitsOfServer(record({ transport: 'stdio', command: ['node'] }))]).toEqual([]);
    expect([...visitsOfServer(record(http, { visits: ['a.example'] }))]).toEqual(['a.example']);
    expect(Server.safeParse({ ...record(http), visits: ['10.0.0.1'] }).success).toBe(false);
  });
});
