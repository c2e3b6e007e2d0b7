// An OpenID provider of the tests' own: a certified one, with its own pages to click through.
// node provider.mjs PORT KEYS.json; says `up`. Whoever signs in as `ada` has ada@example.org and is
// in the groups that their name spells: `ada+gpu-admins` is in gpu-admins.
import { readFileSync } from 'node:fs';
import Provider from 'oidc-provider';

const [port, keys] = process.argv.slice(2);
const settings = JSON.parse(readFileSync(keys));
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'drc',
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    redirect_uris: ['http://127.0.0.1/callback'],
    grant_types: ['authorization_code', 'refresh_token',
      'urn:ietf:params:oauth:grant-type:device_code'],
  }, {
    client_id: 'another',
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    redirect_uris: ['http://127.0.0.1/callback'],
  }],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'groups'] },
  conformIdTokenClaims: false, // as Keycloak, Google, Okta and Auth0 do: claims are in the token
  cookies: { keys: ['tests'] },
  features: { deviceFlow: { enabled: true }, devInteractions: { enabled: true } },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => {
      const [name, ...groups] = id.split('+');
      return {
        sub: id, name, groups, email: `${name}@example.org`, email_verified: name !== 'mallory',
      };
    },
  }),
  jwks: settings.jwks,
  pkce: { required: () => true, methods: ['S256'] },
  ttl: { AccessToken: 600, IdToken: settings.life ?? 600, DeviceCode: 600, Grant: 600, Session: 600,
    Interaction: 600, AuthorizationCode: 60 },
});
provider.listen(Number(port), '127.0.0.1', () => console.log('up'));
