-- Words of paths, addresses and tags can be found: the texts are indexed anew, behind the calls.
DELETE FROM audit_cursors WHERE follower = 'texts';
