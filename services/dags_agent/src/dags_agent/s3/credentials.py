"""Whose signature: the SDK finds the credentials and renews them before they end.

The SDK without asyncio is asked, in a thread and only when there is something to fetch: aiobotocore and
aiohttp would be 13 MB of memory for a request an hour.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.session import get_session

from dags_agent.s3.signing import Keys
from sidecar.aws import Aws, translate
from sidecar.errors import Transient

if TYPE_CHECKING:
    from botocore.credentials import Credentials as Found, ReadOnlyCredentials

# The SDK begins to renew so long before the end, and insists from ten minutes before it.
_RENEWED_BEFORE_SECONDS = 15 * 60


class Credentials:
    """The session's credentials, asked before each request.

    The SDK renews temporary ones by their expiry time. Where S3 says that they have ended all the same
    (revoked, or a clock is off), :meth:`renew` looks for them again from the beginning.
    """

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._found: Found | None = None
        self._keys: Keys | None = None

    async def keys(self) -> Keys:
        """Return the keys to sign with now.

        Raises:
            ConfigError: there are none.
            Transient: the endpoint that gives them did not answer; a retry may help.
        """
        try:
            frozen = await self._frozen()
        except (BotoCoreError, ClientError) as err:
            raise translate(err, "Cannot sign requests to S3") from err
        except RuntimeError as err:  # how the SDK says that what it was given anew has ended already
            raise Transient(
                "Cannot sign requests to S3", why=str(err), remedy="Check the task role and the clock"
            ) from err
        known = self._keys
        if known is None or (known.access_key, known.secret_key, known.token) != tuple(frozen[:3]):
            known = Keys(
                access_key=frozen.access_key or "", secret_key=frozen.secret_key or "", token=frozen.token
            )
            self._keys = known
        return known

    async def _frozen(self) -> ReadOnlyCredentials:
        found = self._found
        if found is None:
            self._found = found = await asyncio.to_thread(self._aws.session.get_credentials)
        if found is None:
            raise NoCredentialsError
        if isinstance(found, RefreshableCredentials) and found.refresh_needed(_RENEWED_BEFORE_SECONDS):
            return await asyncio.to_thread(found.get_frozen_credentials)
        return found.get_frozen_credentials()

    async def renew(self, refused: Keys) -> None:
        """Find credentials anew, unless that happened since these keys were handed out.

        Raises:
            Transient: as for :meth:`keys`.
        """
        if self._keys is not refused:
            return
        self._keys = None
        try:
            self._found = await asyncio.to_thread(lambda: get_session().get_credentials())
        except (BotoCoreError, ClientError) as err:
            raise translate(err, "Cannot renew the credentials for S3") from err
